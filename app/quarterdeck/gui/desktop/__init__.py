"""What ties the window to the desktop: tray, single instance, menu entry, autostart, signals."""
