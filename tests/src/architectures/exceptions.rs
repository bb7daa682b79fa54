//! What does not work for a network yet, and why. A network that is listed here and works fails the tests, so the list stays true.

struct Exception {
    networks: &'static [&'static str],
    reason: &'static str,
}

struct OfEngine {
    engine: &'static str,
    double: bool,
    networks: &'static [&'static str],
    reason: &'static str,
}

/// Networks without a gradient file.
const NOT_BUILT: &[Exception] = &[
    Exception {
        networks: &["idioms/bilstm", "idioms/gru", "idioms/lstm", "idioms/rnn", "keras/bidirectional", "keras/lstm"],
        reason: "RNN, GRU and LSTM are not read",
    },
    Exception { networks: &["keras/gru"], reason: "Loop is not read" },
    Exception { networks: &["idioms/pyramid", "idioms/unet", "other/first_opset"], reason: "Resize has no gradient rule" },
    Exception { networks: &["idioms/spatial_transformer"], reason: "GridSample has no gradient rule" },
    Exception { networks: &["idioms/volume"], reason: "Celu has no gradient rule" },
    Exception { networks: &["other/caffe2"], reason: "LRN has no gradient rule" },
    Exception {
        networks: &[
            "sklearn/discriminant",
            "sklearn/gaussian_bayes",
            "sklearn/linear_svc",
            "sklearn/logistic",
            "sklearn/mlp",
            "sklearn/mlp_logistic",
            "sklearn/mlp_tanh",
            "sklearn/multinomial_bayes",
            "sklearn/polynomial",
            "sklearn/ridge",
            "sklearn/robust",
            "sklearn/scaled_pca_logistic",
            "sklearn/sgd",
            "sklearn/svc_rbf",
        ],
        reason: "the operators of ai.onnx.ml are not read",
    },
];

/// Gradient files that an engine does not run, or not as it should.
const NOT_RUN: &[OfEngine] = &[OfEngine {
    engine: "tract",
    double: true,
    networks: &["torch/nfnet"],
    reason: "translating a Reshape gives two nodes the same name",
}];

/// Why there is no gradient file, if it is known that there is none.
pub fn not_built(network: &str) -> Option<String> {
    NOT_BUILT.iter().find(|e| e.networks.contains(&network)).map(|e| e.reason.to_owned())
}

/// Why an engine does not run the file in this precision, if it is known that it does not.
pub fn not_run(engine: &str, double: bool, network: &str) -> Option<String> {
    let listed = |e: &&OfEngine| e.engine == engine && e.double == double && e.networks.contains(&network);
    NOT_RUN.iter().find(listed).map(|e| e.reason.to_owned())
}
