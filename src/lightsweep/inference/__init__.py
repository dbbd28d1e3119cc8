"""What is done with a trained network: scores on data, predictions for image files, an ONNX file.

It takes what a user typed (RUN, data, device) and a run's folder; it gives objects that evaluate.py, predict.py and
export.py print and write. `trained_runs` is imported before torch is, so that a mistyped RUN is refused at once.
"""
