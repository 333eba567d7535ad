"""Exports: a model as one ONNX file that ONNX Runtime and OpenVINO run, and what that changes."""
