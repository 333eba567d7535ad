"""Engines that run exported models: ONNX Runtime and OpenVINO, without torch."""
