"""Operations of the API, independent of rooms: permissions, the agent, the effect."""
