//! Checks every declaration that a file makes itself.

use std::collections::BTreeMap;

use lrc_dsl::ast::Kind;
use lrc_dsl::{Diag, Namespace};

use crate::elaborate::elaborate;
use crate::graph::{build, check_mixer};

/// Elaborates everything with witness sizes and default parameters, and reports all findings.
pub fn check(namespace: &Namespace, diags: &mut Vec<Diag>) {
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
