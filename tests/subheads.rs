//! Subheads that add up inside their recurrence give the numbers of those that add up behind it.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeMap;

use lrc_compiler::graph::{Kind, build};
use lrc_dsl::Sources;
use lrc_runtime::ground::library::LIBRARY;
use lrc_runtime::ground::random::{Purpose, Stream};
use lrc_runtime::model::{Walk, fresh};
use lrc_runtime::ops::batch::Batch;

/// Gated DeltaNet or attention with subheads; both ways of adding them up.
fn executor(name: &str, sum: &str) -> Walk {
    let text = format!(
        "use \"recurrences/gated_delta_rule.arch\"
        mixer delta(heads = 2, expand = 4, d = 8) {{
            q : [heads, expand, d] = l2norm(linear(x))
            k : [heads, expand, d] = l2norm(linear(x))
            v : [heads, d] = linear(x)
            g : [heads, expand] = logsigmoid(linear(x))
            beta : [heads, expand] = sigmoid(linear(x))
            o = gated_delta_rule(q, k, v, g, beta)
            out y = linear(rmsnorm({sum}))
        }}
        mixer attending(heads = 2, expand = 4, d = 8) {{
            q : [heads, expand, d] = linear(x)
            k : [heads, d] = linear(x)
            v : [heads, d] = linear(x)
            o = softmax_attn(q, k, v)
            out y = linear(rmsnorm({sum}))
        }}
        use \"recurrences/softmax_attn.arch\"
        model m(width = 12) {{ vocab 19; residual x + f(rmsnorm(x))
            {name}(); {name}()
            head x, untied }}"
    );
    let (names, mut diags) =
        lrc_dsl::load_text("m.arch", text, None, LIBRARY, &mut Sources::default());
    let model = build(&names, names.get("m").unwrap(), &BTreeMap::new(), &mut diags);
    let model = model.unwrap_or_else(|| panic!("{diags:?}"));
    let params = fresh(&model.graph.params, 4);
    Walk::new(model, &params).unwrap()
}

fn sums(executor: &Walk) -> Vec<usize> {
    let kinds = executor.model().graph.nodes.node_weights().map(|node| &node.kind);
    let recurs = kinds.filter_map(|kind| match kind {
        Kind::Recur(recur) => Some(recur.sum),
        _ => None,
    });
    recurs.collect()
}

#[test]
fn sums_inside_and_behind_are_the_same() {
    let mut random = Stream::new(3, Purpose::Train, 0);
    let mut batch = Batch::default();
    for length in [70, 1, 130, 64, 5, 33, 90, 2] {
        let tokens: Vec<u32> = (0..length).map(|_| random.below(19) as u32).collect();
        batch.push(&tokens, &tokens);
    }
    // A bound that nothing reaches keeps the sum out of the recurrence.
    let mut inside = executor("delta", "sum(o, expand)");
    let mut behind = executor("delta", "sum(max(o, -1e30), expand)");
    assert_eq!(sums(&inside), [4, 4]);
    assert_eq!(sums(&behind), [1, 1]);
    let scores = [inside.train(&batch).unwrap().loss, behind.train(&batch).unwrap().loss];
    assert_eq!(scores[0].to_bits(), scores[1].to_bits());
    assert_eq!(inside.grads().unwrap(), behind.grads().unwrap());
    // What reads the past itself is left as it is.
    assert_eq!(sums(&executor("attending", "sum(o, expand)")), [1, 1]);
    // So is what is read elsewhere too.
    assert_eq!(sums(&executor("delta", "sum(o, expand) + sum(o .* o, expand)")), [1, 1]);
}

#[test]
fn a_growing_text_adds_them_up_too() {
    let mut inside = executor("delta", "sum(o, expand)");
    let tokens: Vec<u32> = (0..40).map(|i| (i * 7 % 19) as u32).collect();
    let mut batch = Batch::default();
    batch.push(&tokens, &tokens);
    let hidden = inside.hidden(&batch).unwrap();
    let mut session = inside.session();
    session.feed(&tokens[..39]).unwrap();
    let grown = session.feed(&tokens[39..]).unwrap();
    drop(session);
    let whole = inside.logits(&hidden[39 * 12..]).unwrap();
    assert!(grown.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-4), "{grown:?}\n{whole:?}");
}
