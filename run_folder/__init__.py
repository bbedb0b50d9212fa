"""What a run leaves: files, checkpoints, snapshots, TensorBoard, progress."""
