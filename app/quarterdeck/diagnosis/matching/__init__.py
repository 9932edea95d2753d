"""How a log is read: in blocks of whole lines, past a search for fixed words, to the rules whose patterns are found."""
