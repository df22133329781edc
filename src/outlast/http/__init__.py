"""HTTP shared by all rooms: errors, bodies, authentication, streams. Nothing of one room."""
