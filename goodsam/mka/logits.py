"""Student <-> ensemble and assistant, on class probabilities."""

from torch import Tensor


def ensemble_loss(logits: Tensor, ensemble: Tensor, weight: Tensor) -> Tensor:
    """L_ens: cross-entropy to the ensemble's probabilities, weighted per pixel.

    L_ens = mean over x of w(x) * -sum_c E_c(x) log softmax(z(x))_c. The mean is over all pixels, those without weight
    too (our choice): so the loss of a batch is the mean over its panoramas, however it is split among processes, and
    a patch of which little is known counts little.

    Args:
        logits: z of the student, float (B, C, h, w).
        ensemble: E, float (B, C, h, w), summing to one over C.
        weight: w, float (B, h, w), at least 0.
    """
    cross_entropy = -(ensemble * logits.log_softmax(1)).sum(1)
    return (weight * cross_entropy).mean()


def assistant_loss(logits: Tensor, assistant: Tensor, valid: Tensor, temperature: float) -> Tensor:
    """L_ta: KL from the student to the assistant, both softened by a temperature (Hinton et al., 2015).

    L_ta = T^2 * mean over x of v(x) KL( softmax(log p(x) / T) || softmax(z(x) / T) ); T^2 keeps its gradient's size,
    and v(x) is 1 where there is a scene, else 0.

    Args:
        logits: z of the student, float (B, C, h, w).
        assistant: p, merged probabilities of the assistant, float (B, C, h, w).
        valid: v, float or bool (B, h, w).
        temperature: T, above 0; 1 leaves both as they are.
    """
    target = (assistant.clamp_min(1e-6).log() / temperature).log_softmax(1)
    student = (logits / temperature).log_softmax(1)
    divergence = (target.exp() * (target - student)).sum(1)
    return temperature**2 * (valid.to(divergence.dtype) * divergence).mean()
