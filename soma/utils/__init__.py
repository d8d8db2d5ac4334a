"""What rooms and scripts share: tables, progress, the command line, configs."""
