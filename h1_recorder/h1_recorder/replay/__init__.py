"""An episode as ROS messages again."""
