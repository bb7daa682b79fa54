//! The list of operators that are expanded whatever the opset: control flow, sequences, recurrent layers, attention, and those of
//! other domains. Each has an exact definition in ordinary operators. What is not listed stays, and is refused by name later.

use super::upgrade::{Old, Renewed};
use super::{attention, classic, control, learners, quantised, recurrent, sequences, trees, vendor};
use crate::ir::Node;

/// Writes a node in ordinary operators.
type Expansion = fn(&mut Old) -> Renewed;

/// Operators of the standard domain.
pub(super) const STANDARD: &[(&str, Expansion)] = &[
    ("If", control::branch),
    ("Loop", control::repeat),
    ("Scan", control::scan),
    ("SequenceConstruct", sequences::construct),
    ("SequenceEmpty", sequences::construct),
    ("SequenceAt", sequences::at),
    ("SequenceInsert", sequences::insert),
    ("SequenceErase", sequences::erase),
    ("SequenceLength", sequences::length),
    ("SplitToSequence", sequences::split_up),
    ("ConcatFromSequence", sequences::concat),
    ("Identity", sequences::identity),
    ("RNN", recurrent::rnn),
    ("GRU", recurrent::gru),
    ("LSTM", recurrent::lstm),
    ("Attention", attention::attention),
    ("RotaryEmbedding", attention::rotary_embedding),
    // of the first opsets
    ("ImageScaler", classic::image_scaler),
    ("Affine", classic::affine),
    ("Scale", classic::scale),
    ("ScaledTanh", classic::scaled_tanh),
    ("ParametricSoftplus", classic::parametric_softplus),
    ("Crop", classic::crop),
    // written by older optimisers under the standard domain
    ("SimplifiedLayerNormalization", vendor::simplified_layer_norm),
];

/// Operators of other domains.
pub(super) const FOREIGN: &[(&str, &str, Expansion)] = &[
    (LEARNERS, "Scaler", learners::scaler),
    (LEARNERS, "Normalizer", learners::normalizer),
    (LEARNERS, "Imputer", learners::imputer),
    (LEARNERS, "Binarizer", learners::binarizer),
    (LEARNERS, "FeatureVectorizer", learners::feature_vectorizer),
    (LEARNERS, "ArrayFeatureExtractor", learners::array_feature_extractor),
    (LEARNERS, "LabelEncoder", learners::label_encoder),
    (LEARNERS, "OneHotEncoder", learners::one_hot_encoder),
    (LEARNERS, "LinearClassifier", learners::linear_classifier),
    (LEARNERS, "LinearRegressor", learners::linear_regressor),
    (LEARNERS, "SVMClassifier", learners::svm_classifier),
    (LEARNERS, "SVMRegressor", learners::svm_regressor),
    (LEARNERS, "TreeEnsembleClassifier", trees::classifier),
    (LEARNERS, "TreeEnsembleRegressor", trees::regressor),
    (MICROSOFT, "CDist", vendor::distances),
    (MICROSOFT, "FusedMatMul", vendor::fused_matmul),
    (MICROSOFT, "FusedGemm", vendor::fused_gemm),
    (MICROSOFT, "FusedConv", vendor::fused_conv),
    (MICROSOFT, "Gelu", vendor::gelu),
    (MICROSOFT, "FastGelu", vendor::fast_gelu),
    (MICROSOFT, "BiasGelu", vendor::bias_gelu),
    (MICROSOFT, "QuickGelu", vendor::quick_gelu),
    (MICROSOFT, "SkipLayerNormalization", vendor::skip_layer_norm),
    (MICROSOFT, "SimplifiedLayerNormalization", vendor::simplified_layer_norm),
    (MICROSOFT, "QLinearAdd", quantised::add),
    (MICROSOFT, "QLinearMul", quantised::mul),
    (MICROSOFT, "QLinearSigmoid", quantised::sigmoid),
    (MICROSOFT, "QLinearLeakyRelu", quantised::leaky_relu),
    (MICROSOFT, "QLinearReduceMean", quantised::reduce_mean),
    (MICROSOFT, "QLinearGlobalAveragePool", quantised::global_average_pool),
    (MICROSOFT, "QLinearAveragePool", quantised::average_pool),
    (MICROSOFT, "QLinearSoftmax", quantised::softmax),
    (MICROSOFT, "QLinearConcat", quantised::concat),
    (MICROSOFT, "QLinearWhere", quantised::select),
    (MICROSOFT, "QLinearConv", quantised::as_standard),
    (MICROSOFT, "QGemm", quantised::gemm),
    (MICROSOFT, "MatMulIntegerToFloat", quantised::matmul_to_float),
    (MICROSOFT, "DynamicQuantizeMatMul", quantised::dynamic_matmul),
    (MICROSOFT, "NhwcMaxPool", quantised::nhwc_max_pool),
    (MICROSOFT, "QuantizeLinear", quantised::linear),
    (MICROSOFT, "DequantizeLinear", quantised::linear),
];

const LEARNERS: &str = "ai.onnx.ml";
const MICROSOFT: &str = "com.microsoft";

/// Whether a refusal is about control flow.
pub(super) fn is_control(node: &Node) -> bool {
    node.domain.is_empty() && (matches!(&*node.op, "If" | "Loop" | "Scan") || node.op.contains("Sequence"))
}
