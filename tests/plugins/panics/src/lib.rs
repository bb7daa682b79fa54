//! A Rust plugin that panics when it is asked for a program.

use flatscape_sdk::Component;

fn component() -> Component {
    Component::attack("panics", "panics when it is asked").build(|ask| {
        let nothing: Vec<f64> = Vec::new();
        Err(flatscape_sdk::Error::failed(format!("{}", nothing[ask.task.classes])))
    })
}

flatscape_sdk::export!("misbehaving-panics", "0.1.0", [component()]);
