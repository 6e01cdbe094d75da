"""The REST API: FastAPI routers by noun, schemas, problem details."""
