"""Using what was trained: from RUN on a command line to scores, classified images or an ONNX file."""
