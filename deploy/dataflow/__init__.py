"""The Flex Template of albeam."""
