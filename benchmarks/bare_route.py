"""The peer of `benchmarks.http`: a route that fits and forgets."""

import socket
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI
from sklearn.linear_model import LinearRegression

app = FastAPI()


@app.post("/fit")
def fit(body: dict[str, Any]) -> dict[str, Any]:
    """scikit-learn's coefficients, nothing else."""
    columns = body["data"]["columns"]
    model = LinearRegression().fit(np.array(columns["x"])[:, None], np.array(columns["y"]))
    return {"coefficients": model.coef_.tolist(), "intercept": float(model.intercept_)}


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"Listening at http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
