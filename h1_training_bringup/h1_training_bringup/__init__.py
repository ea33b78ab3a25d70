"""Starts the session: launch and configuration, the robot's own drivers, the simulation."""
