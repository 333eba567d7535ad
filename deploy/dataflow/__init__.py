"""What a Flex Template of albeam is made of."""
