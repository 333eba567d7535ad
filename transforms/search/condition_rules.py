"""What a condition may use: functions that need little time and memory, and no tables.

DuckDB's own limit of memory does not hold inside its functions of texts and lists. So what can
multiply a text or a list is left out, and what can double one is counted.
"""

from transforms.errors import BadInput
from transforms.search.condition_names import Names, lower

_OPERATORS = """
    != !__postfix !~~ !~~* % & && * ** + - / // < << <= <@ = > >= >> @ @> ^ ^@ | || ~ ~~ ~~* ~~~
    xor between not_like_escape like_escape ilike_escape not_ilike_escape
"""
_NUMBERS = """
    abs acos add asin atan atan2 cbrt ceil ceiling cos cot degrees divide even exp fdiv floor fmod
    gcd greatest isfinite isinf isnan lcm least ln log log10 log2 mod multiply pi pow power radians
    random round round_even sign sin sqrt subtract tan trunc bit_count hash
"""
_TEXTS = """
    ascii bit_length char_length character_length chr contains ends_with instr lcase left len length
    length_grapheme lower ltrim md5 nfc_normalize octet_length ord position prefix regexp_extract
    regexp_full_match regexp_matches reverse right rtrim sha256 split_part starts_with strip_accents
    strlen strpos substr substring suffix translate trim ucase unicode upper
"""
_TIMES = """
    age ago century current_date current_localtime current_localtimestamp date_add date_diff
    date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
    dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era get_current_time
    get_current_timestamp hour isodow isoyear julian last_day make_date make_time make_timestamp
    make_timestamptz microsecond millennium millisecond minute month monthname nanosecond now
    quarter second strftime strptime time_bucket timezone to_centuries to_days to_decades to_hours
    to_microseconds to_milliseconds to_minutes to_months to_quarters to_seconds to_timestamp
    to_weeks to_years today transaction_timestamp try_strptime week weekday weekofyear year yearweek
"""
_NESTED = """
    array_contains array_extract array_filter array_has array_has_all array_has_any array_indexof
    array_length array_position array_slice array_value cardinality element_at list_any_value
    list_avg list_contains list_count list_distinct list_element list_extract list_filter list_first
    list_has list_has_all list_has_any list_indexof list_last list_max list_min list_position
    list_slice list_sum list_unique list_value map map_contains map_extract map_extract_value
    map_keys map_values filter row struct_extract struct_extract_at struct_pack union_extract
    union_tag unnest array_distinct array_unique
"""
_OTHERS = """
    alias coalesce constant_or_null if ifnull nullif typeof uuid gen_random_uuid
    any_value arg_max arg_min avg bool_and bool_or count count_star first last max mean median min
    quantile sum columns
"""
ALLOWED = frozenset(" ".join((_OPERATORS, _NUMBERS, _TEXTS, _TIMES, _NESTED, _OTHERS)).split())
#: The most joins of texts in a condition.
_MOST_JOINS = 100
#: The most casts beside lists: a list as a text has an escape for each quote of its texts.
_MOST_CASTS = 8
#: The most lambdas: DuckDB needs twice the memory for each that is inside another.
_MOST_LAMBDAS = 10
_REMEDY = "Leave it out of the condition"


def check_rules(text: str, names: Names, internal: tuple[str, ...]) -> None:
    """Check what a condition uses.

    Args:
        text: the condition.
        names: its names.
        internal: columns and tables that are there, and that no condition may name.

    Raises:
        BadInput: it reads a table, or uses what may take much memory.
    """
    if others := sorted(name for name in names.functions if name not in ALLOWED):
        known = ", ".join(map(repr, others))
        problem = f"uses {known}, and no condition may"
        raise BadInput("where", text, problem, _REMEDY)
    hidden = {lower(name) for name in internal}
    if names.tables or any(lower(name) in hidden for name in names.every):
        raise BadInput("where", text, "reads a table", "Use columns alone")
    joins, lists = names.counts.get("||", 0), names.counts.get("list_value", 0)
    nested = lists + names.counts.get("struct_pack", 0) + names.counts.get("row", 0)
    too_many = (
        f"joins texts {joins} times" * (joins > _MOST_JOINS),
        "joins texts in a subquery" * (names.subqueries > 0 and joins > 0),
        f"makes {nested} lists beside subqueries" * (names.subqueries > 0 and nested > 1),
        f"casts {names.casts} values beside lists" * (nested > 0 and names.casts > _MOST_CASTS),
        f"has {names.lambdas} lambdas" * (names.lambdas > _MOST_LAMBDAS),
        "repeats a query" * names.recursive,
    )
    for problem in filter(None, too_many):
        raise BadInput("where", text, f"{problem}, which may take too much memory", _REMEDY)
