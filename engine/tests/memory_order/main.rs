//! Memory order: that the list of pairings is whole, and that each of its models notices what it is for.

mod broken;
mod pairings;
mod source;

use broken::Models;
use pairings::{Break, PAIRINGS};

fn breaks() -> Vec<&'static Break> {
    PAIRINGS.iter().flat_map(|pairing| pairing.breaks).collect()
}

#[test]
#[ignore = "builds the engine once more, for the models: a step of .ci/run"]
fn each_model_passes_as_it_is_and_fails_with_what_it_guards_taken_out() {
    let breaks = breaks();
    let models = Models::build(&breaks);
    let mut complaints = Vec::new();
    let mut names: Vec<_> = breaks.iter().map(|broken| broken.model).collect();
    names.sort_unstable();
    names.dedup();
    for model in names {
        let (passed, printed) = models.run(model, None);
        if !passed {
            complaints.push(format!("{model} fails as it is:\n{printed}"));
        }
    }
    for (number, Break { what, file, function, model, says, .. }) in breaks.iter().enumerate() {
        let place = format!("{file}, `{function}`: {what}");
        match models.run(model, Some(number)) {
            (true, _) => complaints.push(format!("{model} does not miss {place}")),
            (false, printed) if !printed.contains(says) => {
                complaints.push(format!(
                    "{model}, without {place}, fails for another reason:\n{printed}"
                ));
            }
            (false, printed) => {
                println!("{model} misses {place}");
                if says.is_empty() {
                    println!("{printed}")
                }
            }
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}
