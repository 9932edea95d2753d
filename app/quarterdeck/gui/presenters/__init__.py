"""What views show, worked out without Qt: texts, badges, button states."""
