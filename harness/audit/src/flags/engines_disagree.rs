//! Two runs of one model on two engines differ: found where runs are compared.

use super::Doubt;

/// The doubt, for comparisons alone.
pub const DOUBT: Doubt = Doubt {
    code: "engines-disagree",
    unreliable: true,
    raised_if: "two runs of the same file with the same seed, batch size, attack and data, on two engines or devices, differ in an \
                accuracy, and the 95 % interval of the paired difference excludes 0",
    explanation: "The engines compute another model, or another gradient: rounding alone does not change accuracies by more than \
                  chance. At least one of the numbers is wrong. A comparison prints this as a warning and keeps its exit code.",
    advice: "Read the gradient certificates of both runs, row second-engine, and the doubts about masked gradients; trust the lower \
             robust accuracy until the cause is known.",
};
