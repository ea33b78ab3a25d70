"""Keys from a terminal or a joystick."""
