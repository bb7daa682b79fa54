"""Classifiers of scikit-learn as skl2onnx writes them, and the same formulas in PyTorch, in float64 on their float32 parameters.

    python tests/architectures/sklearn_nets.py [NAME …]
"""

import numpy as np
import torch
from golden import agree, command, save, tidy
from skl2onnx import to_onnx
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVC

SAMPLES = 2


def f(array):
    """A parameter as the file holds it, in float64."""
    return torch.from_numpy(np.asarray(array, np.float32).astype(np.float64))


class Net:
    """`model` is fitted to `data`; `formula(model, x)` gives its logits up to what the softmax does not see."""

    def __init__(self, model, formula, opset, data="digits", second=True, **options):
        self.model, self.formula, self.opset, self.data, self.second, self.options = model, formula, opset, data, second, options


def data(name):
    if name == "digits":
        x, y = load_digits(n_class=5, return_X_y=True)
        return (x / 16).astype(np.float32), y
    x, y = load_wine(return_X_y=True)
    x = (x - x.min(0)) / (x.max(0) - x.min(0))
    return np.round(x * 256).astype(np.float32) / 256, y


def linear(m, x):
    return x @ f(m.coef_).T + f(m.intercept_)


def scaled(m, x):
    return (x - f(m.mean_)) / f(m.scale_)


def layers(activation):
    def formula(m, x):
        for w, b in zip(m.coefs_[:-1], m.intercepts_[:-1]):
            x = activation(x @ f(w) + f(b))
        return x @ f(m.coefs_[-1]) + f(m.intercepts_[-1])

    return formula


def pipeline(m, x):
    scaler, pca, last = (step for _, step in m.steps)
    return linear(last, (scaled(scaler, x) - f(pca.mean_)) @ f(pca.components_).T)


def normalised(m, x):
    normalizer, mlp = (step for _, step in m.steps)
    return layers(torch.tanh)(mlp, x / x.norm(dim=1, keepdim=True))


def polynomial(m, x):
    low, poly, last = (step for _, step in m.steps)
    x = x * f(low.scale_) + f(low.min_)
    return linear(last, torch.stack([(x ** torch.from_numpy(p)).prod(1) for p in poly.powers_], 1))


def robust(m, x):
    scaler, last = (step for _, step in m.steps)
    return linear(last, (x - f(scaler.center_)) / f(scaler.scale_))


def gaussian_bayes(m, x):
    mean, var = f(m.theta_), f(m.var_)
    return f(np.log(m.class_prior_)) - 0.5 * (torch.log(2 * torch.pi * var) + (x[:, None] - mean) ** 2 / var).sum(2)


def multinomial_bayes(m, x):
    return x @ f(m.feature_log_prob_).T + f(m.class_log_prior_)


def one_against_one(kernel):
    """Votes of pairs, as decision_function gives them with shape ovr: votes + confidence / (3 (|confidence| + 1))."""

    def formula(m, x):
        k = kernel(m, x)
        starts = np.cumsum([0, *m.n_support_])
        n = len(m.n_support_)
        votes, confidence = [0] * n, [0] * n
        pair = 0
        for i in range(n):
            for j in range(i + 1, n):
                a, b = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
                d = k[:, a] @ f(m.dual_coef_[j - 1, a]) + k[:, b] @ f(m.dual_coef_[i, b]) + f(m._intercept_)[pair]
                votes[i], votes[j] = votes[i] + (d > 0).double(), votes[j] + (d <= 0).double()
                confidence[i], confidence[j] = confidence[i] + d, confidence[j] - d
                pair += 1
        confidence = torch.stack(confidence, 1)
        return torch.stack(votes, 1) + confidence / (3 * (confidence.abs() + 1))

    return formula


def rbf(m, x):
    return torch.exp(-float(np.float32(m._gamma)) * ((x[:, None] - f(m.support_vectors_)) ** 2).sum(2))


PLAIN = {"zipmap": False}
SCORES = {"zipmap": False, "raw_scores": True}
NETS = {
    "logistic": Net(LogisticRegression(max_iter=300), linear, 15, "wine", **PLAIN),
    "mlp": Net(MLPClassifier((12,), max_iter=60, random_state=0), layers(torch.relu), 13, **PLAIN),
    "mlp_tanh": Net(make_pipeline(Normalizer(), MLPClassifier((12, 8), activation="tanh", max_iter=60, random_state=0)), normalised, 15, **PLAIN),
    "mlp_logistic": Net(MLPClassifier((10,), activation="logistic", max_iter=60, random_state=0), layers(torch.sigmoid), 18, "wine", **PLAIN),
    "linear_svc": Net(LinearSVC(random_state=0), linear, 12, "wine", raw_scores=True),
    "ridge": Net(RidgeClassifier(), linear, 14, "wine", **PLAIN),
    "sgd": Net(SGDClassifier(random_state=0), linear, 14, "wine", **SCORES),
    "scaled_pca_logistic": Net(make_pipeline(StandardScaler(), PCA(6), LogisticRegression(max_iter=300)), pipeline, 17, "wine", **PLAIN),
    "polynomial": Net(
        make_pipeline(MinMaxScaler(), PolynomialFeatures(2), LogisticRegression(max_iter=300)), polynomial, 13, "wine", **PLAIN
    ),
    "robust": Net(make_pipeline(RobustScaler(), LogisticRegression(max_iter=300)), robust, 11, "wine", **PLAIN),
    "discriminant": Net(LinearDiscriminantAnalysis(), linear, 13, "wine", **PLAIN),
    "gaussian_bayes": Net(GaussianNB(var_smoothing=0.5), gaussian_bayes, 13, "wine", **PLAIN),
    "multinomial_bayes": Net(MultinomialNB(), multinomial_bayes, 13, **PLAIN),
    "svc_rbf": Net(SVC(C=2.0), one_against_one(rbf), 12, "wine", **SCORES),
}


class Restated(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net.formula(self.net.model, x)


def write(net, path):
    x, y = data(net.data)
    net.model.fit(x, y)
    last = net.model.steps[-1][1] if hasattr(net.model, "steps") else net.model
    onx = to_onnx(net.model, x[:1], options={id(last): dict(net.options)}, target_opset={"": net.opset, "ai.onnx.ml": 1})
    path.write_bytes(onx.SerializeToString())
    tidy(path)
    random = np.random.RandomState(sum(map(ord, path.stem)))
    x = x[random.randint(0, len(x), SAMPLES)]
    logits = Restated(net)(torch.from_numpy(x).double())
    # The formula must be scikit-learn's own before it can be the truth about a file.
    if hasattr(net.model, "decision_function") and not hasattr(last, "coefs_"):
        same(logits, net.model.decision_function(x))
    else:
        same(torch.softmax(logits, 1), net.model.predict_proba(x))
    output = 1
    raw = net.options.get("raw_scores") or not hasattr(net.model, "predict_proba")
    agree(path, x, (logits if raw else torch.softmax(logits, 1)).numpy(), None, output)
    save(path, x, Restated(net), net.second)


def same(ours, theirs):
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-3, atol=1e-4)


if __name__ == "__main__":
    command("sklearn", NETS, write)
