"""The graph as launch actions: what the files of the `launch` folder have in common. Only here is launch imported."""
