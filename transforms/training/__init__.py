"""Train encoders: distillation, contrastive learning, export."""
