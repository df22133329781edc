"""What a caller may ask, in our words: who may, which agent, what happens. Rooms translate."""
