"""The policy: openpi's wire protocol, observations, action chunks."""
