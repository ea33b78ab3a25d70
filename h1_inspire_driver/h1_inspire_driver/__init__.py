"""The Inspire hands over Modbus TCP."""
