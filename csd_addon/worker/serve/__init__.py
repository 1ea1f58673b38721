"""The worker's side of the conversation with Blender: process, requests, the fake."""
