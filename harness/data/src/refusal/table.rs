//! Every kind of refusal, one row each: the page `REFUSALS.md` is made from it.

use super::Class;

/// A kind of refusal: (id, class, title, advice). The id is what messages show, and stays.
pub type Kind = (&'static str, Class, &'static str, &'static str);

/// Every kind of refusal, by class and number.
#[rustfmt::skip]
pub const REFUSALS: &[Kind] = &[
    ("U002", Class::Usage, "the command line cannot be parsed", "see flatscape help COMMAND"),
    ("U054", Class::Usage, "two layouts fit the input", "say which: --layout nchw or --layout nhwc"),
    ("U055", Class::Usage, "the preprocessing of integer pixels is not stated", "state --scale, --mean and --std"),
    ("U059", Class::Usage, "an input or output that is named does not exist or is not clear", "flatscape inspect MODEL lists them: --output NAME, --input NAME=VALUE"),
    ("U089", Class::Usage, "a field of the preprocessing, a size or a grid is malformed", "write it as the message shows"),
    ("U090", Class::Usage, "a radius exceeds the range of pixels", "write 8/255 for 8 grey levels, or add --eps-is-large-on-purpose"),
    ("U091", Class::Usage, "an option, a name or an argument is not known or malformed", "the message names what is possible, and the nearest name"),
    ("U092", Class::Usage, "an option asks for nothing, or for what has no usual value", "state the value that the message names"),
    ("U093", Class::Usage, "two options exclude each other", "drop one of them"),
    ("U102", Class::Usage, "a job file is not one of this run or cannot be read", "name a file of the folder jobs of a run directory"),
    ("U150", Class::Usage, "a requirement names what no run has, or there is no baseline", "name a metric of the runs, or add --baseline RUN"),
    ("M001", Class::Model, "the model file cannot be read", "check the path and the permissions"),
    ("M002", Class::Model, "the file is empty", "export or download it again"),
    ("M003", Class::Model, "the file is cut off", "download it again and compare its size"),
    ("M004", Class::Model, "the file is not an ONNX model", "export the model to ONNX"),
    ("M006", Class::Model, "the file is larger than the limit", "keep the weights as external data, or allow more with --max-model-bytes"),
    ("M007", Class::Model, "the file has too many nodes or messages", "export the model without unrolled loops"),
    ("M008", Class::Model, "the bytes are not well-formed", "export or download it again"),
    ("M013", Class::Model, "the file format or the opset is newer than this program", "export with an opset that flatscape inspect names"),
    ("M014", Class::Model, "the opset is missing or stated twice", "export the model again"),
    ("M015", Class::Model, "the file has no graph or no output", "export the model with its inputs and outputs"),
    ("M016", Class::Model, "the graph has a cycle", "export the model again"),
    ("M018", Class::Model, "a name is defined twice", "export the model again"),
    ("M019", Class::Model, "a name is read that nothing produces", "export the model again, with all its initializers"),
    ("M020", Class::Model, "an extent is negative, or zero where images or logits should be", "export the model with a positive or a named extent"),
    ("M021", Class::Model, "a tensor is too large", "export a smaller model"),
    ("M022", Class::Model, "the data of a tensor does not fit its shape", "export or download it again"),
    ("M023", Class::Model, "an element type is not supported", "export the model in float32"),
    ("M024", Class::Model, "a tensor is sparse", "export the model with dense weights"),
    ("M025", Class::Model, "an operator is not known", "export the model with the operators of the ONNX standard"),
    ("M026", Class::Model, "an operator on the way has no gradient rule", "attacks without gradients still run; or export the model without it"),
    ("M028", Class::Model, "the gradient is zero or missing wherever the file can be differentiated", "--remedy straight-through differentiates some operators as something smooth"),
    ("M030", Class::Model, "control flow depends on data", "export the model with loops and branches written out"),
    ("M032", Class::Model, "graphs are nested too deeply", "export the model with fewer nested branches"),
    ("M033", Class::Model, "the local functions of the model cannot be inlined", "export the model with its functions inlined"),
    ("M034", Class::Model, "a value of the graph takes too much memory", "export the model for smaller images or batches"),
    ("M035", Class::Model, "a node contradicts itself or its operands", "export the model again"),
    ("M039", Class::Model, "an input or output is not a tensor", "export the model with tensors alone at its interface"),
    ("M040", Class::Model, "external data leaves the folder of the model", "put the weights beside the model"),
    ("M043", Class::Model, "the file of external data has several names", "copy the file, or allow it with --allow-hardlinks"),
    ("M044", Class::Model, "external data is not in a regular file", "put the weights into a file beside the model"),
    ("M045", Class::Model, "external data cannot be had", "put the file of weights beside the model, whole"),
    ("M046", Class::Model, "external data is described twice", "export the model again"),
    ("M047", Class::Model, "the location of external data is not a path", "export the model again"),
    ("M048", Class::Model, "the location of external data is an address in memory", "export the model again"),
    ("M049", Class::Model, "external data is too large in all", "allow more with --max-model-bytes"),
    ("M052", Class::Model, "the batch of the file is fixed and cannot be made free", "export the model with a dynamic batch axis"),
    ("M053", Class::Model, "the images do not fit the input of the model", "--resize, --crop, --layout, or other data"),
    ("M055", Class::Model, "the input is not pixels of a type that is fed", "export the model with a float input"),
    ("M056", Class::Model, "the model has no form in float32", "export the model in float32"),
    ("M057", Class::Model, "the probabilities of the output cannot be taken back to logits", "export the model without a softmax, or with one over the classes"),
    ("M058", Class::Model, "every class has a score of its own, independent of the others", "--task classes, if exactly one class is right for every image"),
    ("M059", Class::Model, "the model has several inputs", "give all but the image a value: --input NAME=NUMBER"),
    ("M060", Class::Model, "the output is not one row of class scores per image", "name the output with --output NAME, or the task with --task"),
    ("M061", Class::Model, "the label that the file gives is not the class of its largest score", "name the output of the scores, if they answer: --output NAME"),
    ("M065", Class::Model, "weights are not finite", "export the model again from a sound checkpoint"),
    ("M066", Class::Model, "a measure reads what the model does not have: a likelihood, a linear last layer", "export the model with its logits and its last layer; other rows are not affected"),
    ("M147", Class::Model, "the gradient graph that came with the model does not fit it", "harness/intake/GRADIENTS.md says what such a file must look like"),
    ("M148", Class::Model, "a file of --loss is no loss of logits and labels", "a loss takes logits float[N,K] and label int64[N] and gives loss float[N]"),
    ("M160", Class::Model, "nothing in the model can be trained", "train a model whose layers have weights of their own"),
    ("M161", Class::Model, "the weights are quantised or in half precision", "train the float32 model that it was made from"),
    ("M162", Class::Model, "the weights of the model cannot be followed through its graph", "export the model with its weights as they are trained, one initializer each"),
    ("M163", Class::Model, "two model files have different architectures", "name files of one architecture, exported in the same way"),
    ("D001", Class::Data, "the data cannot be read", "check the path and the permissions"),
    ("D002", Class::Data, "a file of the data set is empty", "download it again"),
    ("D004", Class::Data, "the data are in a format that is not read", "store them as .npz with x and y, or as a folder of images by class"),
    ("D061", Class::Data, "labels and classes of the model do not fit", "--label-offset, or the data that the model was made for"),
    ("D076", Class::Data, "there are fewer images than -n asks for, or none", "ask for fewer, or add --allow-fewer"),
    ("D077", Class::Data, "labels are missing, malformed or out of range", "store one integer label per image, from 0 on"),
    ("D078", Class::Data, "there are not as many labels as images", "store one label per image"),
    ("D079", Class::Data, "pixels are outside the range", "store uint8 images, or floats between 0 and 1"),
    ("D080", Class::Data, "an image or a folder is of a kind that is not read", "convert the images to 8-bit RGB or grey PNG, one folder per class"),
    ("D081", Class::Data, "an image cannot be decoded, or is cut off", "replace the file, or leave it out with --skip-unreadable"),
    ("D082", Class::Data, "an image has more pixels than the limit", "store smaller images"),
    ("D083", Class::Data, "the data set has more images or bytes than the limit", "take fewer of them: -n N"),
    ("D084", Class::Data, "a NumPy array is malformed", "write the archive again with numpy.savez(path, x=images, y=labels)"),
    ("D085", Class::Data, "a file of the data set is damaged", "download or write it again"),
    ("D086", Class::Data, "labels.csv cannot be read", "write the columns file and label, in UTF-8"),
    ("D106", Class::Data, "stored witnesses are not images of the data set's type", "repeat the audit with --resume"),
    ("P001", Class::Plugin, "a plugin file cannot be read", "check the path and the permissions"),
    ("P002", Class::Plugin, "a plugin file is not a shared library for this machine", "build it for this machine"),
    ("P003", Class::Plugin, "others may write to a plugin file", "chmod go-w, or allow it with --insecure-plugin-perms"),
    ("P004", Class::Plugin, "a plugin cannot be loaded", "build it again; it exports flatscape_plugin"),
    ("P005", Class::Plugin, "a plugin has another version of the interface", "build it again with the header or the SDK of this version"),
    ("P006", Class::Plugin, "a component failed", "tell the author of the plugin"),
    ("P007", Class::Plugin, "a component panicked", "tell the author of the plugin"),
    ("P008", Class::Plugin, "a plugin ended its process", "tell the author of the plugin"),
    ("P009", Class::Plugin, "a plugin describes itself wrongly", "flatscape plugins check FILE says what is wrong"),
    ("P010", Class::Plugin, "a plugin gave no answer in time", "tell the author, or allow more with FLATSCAPE_PLUGIN_SECONDS"),
    ("P011", Class::Plugin, "a plugin wrote into the connection between the processes", "tell the author of the plugin"),
    ("P012", Class::Plugin, "a component answered a program that is not right", "flatscape plugins check FILE says what is wrong"),
    ("P013", Class::Plugin, "two plugins offer a component under one qualified name", "drop one of the two files, or build one with another plugin id"),
    ("P014", Class::Plugin, "a plugin exceeded what it may do", "tell the author; FLATSCAPE_PLUGIN_SECONDS and FLATSCAPE_PLUGIN_MEMORY set limits"),
    ("P015", Class::Plugin, "the process of a plugin cannot shut itself in", "if you trust the plugin: --no-sandbox"),
    ("P032", Class::Plugin, "a component was cancelled", "repeat the command with --resume"),
    ("P134", Class::Plugin, "the program of a component cannot be linked or run", "flatscape plugins check FILE says what is wrong"),
    ("P135", Class::Plugin, "an attack handed over points that are not allowed", "the verdict is that without them; tell the author of the plugin"),
    ("P141", Class::Plugin, "a metric or a cost gave NaN or infinite values", "tell the author, unless the model itself gives NaN near these images"),
    ("E006", Class::Engine, "an engine refused a graph or failed", "try the other engine: --engine ort or --engine tract"),
    ("E031", Class::Engine, "an engine failed while a plugin was asking", "try the other engine: --engine ort or --engine tract"),
    ("E108", Class::Engine, "the device is not there", "flatscape doctor says what is missing; --device cpu always works"),
    ("E109", Class::Engine, "there is no usable ONNX Runtime library", "flatscape runtime install, or --engine tract"),
    ("E110", Class::Engine, "an engine failed while a component ran", "try the other engine, or a smaller --batch-size"),
    ("E113", Class::Engine, "a worker process died over a job", "try the job alone with flatscape shard, or another --engine"),
    ("E114", Class::Engine, "the process of an engine died, hung or was stopped", "try the other engine, or allow more with FLATSCAPE_ENGINE_SECONDS"),
    ("E115", Class::Engine, "an engine ran out of memory", "use a smaller --batch-size, or allow more with FLATSCAPE_ENGINE_MEMORY"),
    ("O030", Class::Output, "the process of a plugin cannot be started, or has no shared memory", "free memory, and check the limits of processes, files and memory"),
    ("O041", Class::Output, "a template could not be written", "choose another folder with --into"),
    ("O094", Class::Output, "a file or the output could not be written", "make room; what was computed is kept: --resume"),
    ("O095", Class::Output, "the output directory cannot be written", "choose another place with --out"),
    ("O102", Class::Output, "a result could not be stored or read back", "repeat the command with --resume"),
    ("O112", Class::Output, "a worker process could not be started or is lost", "repeat the command with --resume, with fewer --jobs"),
    ("O116", Class::Output, "memory ran out", "use a smaller --batch-size, fewer images (-n N) or fewer --threads"),
    ("O117", Class::Output, "no font was found for the text of pictures", "install one, for instance the package fonts-dejavu-core; the SVG files need none"),
    ("R096", Class::State, "the output directory holds a run that is not this one", "add --resume with the same options, or choose another place with --out"),
    ("R097", Class::State, "the run directory is in use", "wait until that run has ended, or choose another place with --out"),
    ("R098", Class::State, "the directory is not a run directory of this version", "name a run directory of flatscape"),
    ("R101", Class::State, "a model or the data changed since the run began", "bring the former file back, or choose another place with --out"),
    ("R103", Class::State, "an entry of the run directory is a link, a pipe or a device", "remove it and repeat the command with --resume"),
    ("R104", Class::State, "a file or folder of the run directory cannot be read", "check the permissions"),
    ("R105", Class::State, "a file of the run is missing", "repeat the audit with --resume, which writes it again"),
    ("R106", Class::State, "a file of the run is damaged or does not fit its job", "repeat the audit with --resume, which computes it again"),
    ("R107", Class::State, "a job belongs to another engine, library or plugin", "name those of the run: --engine, --ort-lib, --device, --plugin"),
    ("R108", Class::State, "the run was asked to stop", "repeat the command with --resume"),
    ("R150", Class::State, "a table of a run is missing, or is not what its results give", "flatscape report RUN --format csv writes it again"),
    ("R151", Class::State, "runs have nothing to compare", "compare runs of the same data set and threat model"),
    ("R152", Class::State, "a run has two values for one thing", "repeat the audit; a run measures everything once"),
];

/// The kind of that id.
pub fn kind(id: &str) -> Option<&'static Kind> {
    REFUSALS.iter().find(|(known, ..)| *known == id)
}

/// The page that lists them, as Markdown.
pub fn page() -> String {
    let mut page = String::from(
        "# Refusals\n\nWhat flatscape refuses, and what to do about it. Made from `REFUSALS` in `src/refusal/table.rs`;\n\
         a test compares them. Set `FLATSCAPE_WRITE_PAGES=1` and run that test to write this page again.\n",
    );
    for class in Class::ALL {
        page.push_str(&format!(
            "\n## {} (exit code {})\n\n| id | what | what to do |\n|---|---|---|\n",
            class.title(),
            class.exit_code()
        ));
        for (id, _, title, advice) in REFUSALS.iter().filter(|row| row.1 == *class) {
            page.push_str(&format!("| `{id}` | {title} | {advice} |\n"));
        }
    }
    page
}
