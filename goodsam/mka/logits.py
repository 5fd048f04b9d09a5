"""Student <-> ensemble and assistant, on class probabilities."""

from torch import Tensor


def ensemble_loss(logits: Tensor, ensemble: Tensor, weight: Tensor) -> Tensor:
    """L_ens: cross-entropy to the ensemble's probabilities, weighted per pixel.

    L_ens = sum_x w(x) * -sum_c E_c(x) log softmax(z(x))_c / sum_x w(x); 0 where no pixel has weight.

    Args:
        logits: z of the student, float (B, C, h, w).
        ensemble: E, float (B, C, h, w), summing to one over C.
        weight: w, float (B, h, w), at least 0.
    """
    cross_entropy = -(ensemble * logits.log_softmax(1)).sum(1)
    return (weight * cross_entropy).sum() / weight.sum().clamp_min(1e-6)


def assistant_loss(logits: Tensor, assistant: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """L_ta: KL from the student to the assistant, both softened by a temperature (Hinton et al., 2015).

    L_ta = T^2 * mean over valid x of KL( softmax(log p(x) / T) || softmax(z(x) / T) ); T^2 keeps its gradient's size.

    Args:
        logits: z of the student, float (B, C, h, w).
        assistant: p, merged probabilities of the assistant, float (B, C, h, w).
        valid: float or bool (B, h, w), where there is a scene.
        temperature: T, above 0; 1 leaves both as they are.
    """
    target = (assistant.clamp_min(1e-6).log() / temperature).log_softmax(1)
    student = (logits / temperature).log_softmax(1)
    divergence = (target.exp() * (target - student)).sum(1)
    valid = valid.to(divergence.dtype)
    return temperature**2 * (valid * divergence).sum() / valid.sum().clamp_min(1e-6)
