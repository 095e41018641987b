//! Checks every declaration that a file makes itself.

use std::collections::BTreeMap;

use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Namespace, Severity};

use crate::elaborate::elaborate;
use crate::graph::{build, check_mixer};

/// Elaborates everything with witness sizes and default parameters, and reports all findings.
pub fn check(namespace: &Namespace, diags: &mut Vec<Diag>) {
    each(namespace, diags);
    // A model warns of its mixers too, at sizes that are its own: these count.
    let mut kept = Vec::with_capacity(diags.len());
    for (at, diag) in diags.iter().enumerate() {
        let again = |other: &Diag| other.code == diag.code && other.span == diag.span;
        if diag.severity != Severity::Warning || !diags[at + 1..].iter().any(again) {
            kept.push(diag.clone());
        }
    }
    *diags = kept;
}

fn each(namespace: &Namespace, diags: &mut Vec<Diag>) {
    for name in &namespace.own {
        let decl = &namespace.decls[name];
        match decl.kind {
            Kind::Recurrence => {
                elaborate(decl, &BTreeMap::new(), diags);
            }
            Kind::Mixer => check_mixer(namespace, decl, diags),
            Kind::Model => {
                build(namespace, decl, &BTreeMap::new(), diags);
            }
        }
    }
}
