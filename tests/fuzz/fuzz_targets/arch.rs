//! No text makes the parser or the checks panic, and what parses prints as something that parses
//! to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lrc_dsl::{Diag, Sources, load_text, render};
use lrc_runtime::ground::library::LIBRARY;

fuzz_target!(|text: &str| {
    let mut sources = Sources::default();
    let (namespace, mut diags) = load_text("fuzz", text.into(), None, LIBRARY, &mut sources);
    if !diags.iter().any(Diag::is_error) {
        lrc_compiler::check::check(&namespace, &mut diags);
        let decls = namespace.own.iter().map(|name| namespace.decls[name].clone()).collect();
        let file = lrc_dsl::ast::File { uses: Vec::new(), decls };
        let printed = lrc_dsl::print::print(&file);
        let id = sources.add("again", printed.as_str());
        let (again, found) = lrc_dsl::parse(id, &printed);
        assert!(!found.iter().any(Diag::is_error), "{printed}");
        assert_eq!(lrc_dsl::print::print(&again), printed);
    }
    render(&sources, &diags, false);
});
