//! Memory order: that the list of pairings is whole, and that each of its models notices what it is for.

mod broken;
mod pairings;
mod source;

use std::{collections::BTreeSet, fmt::Write as _, fs};

use broken::Models;
use pairings::{Break, PAIRINGS, Pairing, UNMODELLED, UNORDERED, Unmodelled, Unordered};
use source::{Source, sources};

/// The page for people, and what the list is between in it.
const PAGE: &str = "docs/memory-order.md";
const BEGIN: &str = "<!-- the list begins -->\n";
const END: &str = "<!-- the list ends -->\n";

fn breaks() -> Vec<&'static Break> {
    PAIRINGS.iter().flat_map(|pairing| pairing.breaks).collect()
}

fn models_of(breaks: &[Break]) -> BTreeSet<&'static str> {
    breaks.iter().map(|broken| broken.model).collect()
}

fn file<'a>(sources: &'a [Source], name: &str) -> &'a Source {
    let found = sources.iter().find(|source| source.name == name);
    found.unwrap_or_else(|| panic!("the list names {name}, which is no file of the engine"))
}

#[test]
#[ignore = "builds the engine once more, for the models: a step of .ci/run"]
fn each_model_passes_as_it_is_and_fails_with_what_it_guards_taken_out() {
    let breaks = breaks();
    let models = Models::build(&breaks);
    let mut complaints = Vec::new();
    for model in
        PAIRINGS.iter().flat_map(|pairing| models_of(pairing.breaks)).collect::<BTreeSet<_>>()
    {
        let (passed, printed) = models.run(model, None);
        if !passed {
            complaints.push(format!("{model} fails as it is:\n{printed}"));
        }
    }
    for (number, Break { what, file, function, model, says, .. }) in breaks.iter().enumerate() {
        let place = format!("{file}, `{function}`: {what}");
        let complaint = match models.run(model, Some(number)) {
            (false, printed) if printed.contains(says) => {
                println!("noticed: {place}");
                continue;
            }
            (false, printed) => format!("{model} does not say `{says}` without {place}\n{printed}"),
            (true, _) => format!("{model} passes without {place}"),
        };
        complaints.push(complaint);
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n\n"));
}

#[test]
fn every_break_is_at_one_place_of_the_source_and_every_model_is_there_and_can_fail() {
    let sources = sources();
    for broken in breaks() {
        file(&sources, broken.file).place(broken.function, broken.find);
    }
    let there: BTreeSet<String> = sources.iter().flat_map(Source::models).collect();
    let named: BTreeSet<String> = breaks().iter().map(|broken| broken.model.to_owned()).collect();
    let nowhere: Vec<_> = named.difference(&there).collect();
    assert!(nowhere.is_empty(), "the list names models that are not there: {nowhere:?}");
    let idle: Vec<_> = there.difference(&named).collect();
    assert!(idle.is_empty(), "these models have no break that they must notice: {idle:?}");
}

#[test]
fn whatever_orders_memory_is_in_the_list() {
    let sources = sources();
    let broken: BTreeSet<(&str, String)> =
        breaks().iter().map(|broken| (broken.file, source::name_of(broken.function))).collect();
    for source in &sources {
        for (function, line) in source::orderings(source.code()) {
            let unmodelled = UNMODELLED.iter().any(|Unmodelled { file, functions, .. }| {
                *file == source.name && functions.contains(&function.as_str())
            });
            assert!(
                unmodelled || broken.contains(&(source.name.as_str(), function.clone())),
                "{}: nothing in the list breaks `{line}` in `{function}`",
                source.name
            );
        }
    }
    for Unmodelled { file: name, functions, .. } in UNMODELLED {
        functions.iter().for_each(|function| _ = file(&sources, name).function(function));
    }
}

#[test]
fn every_file_with_an_atomic_access_is_in_the_list() {
    let sources = sources();
    let paired = breaks().into_iter().map(|broken| broken.file);
    let unmodelled = UNMODELLED.iter().map(|unmodelled| unmodelled.file);
    let unordered = UNORDERED.iter().map(|unordered| unordered.file);
    let listed: BTreeSet<&str> = paired.chain(unmodelled).chain(unordered).collect();
    for source in &sources {
        let access = source::accesses(source.code()).next();
        match listed.contains(source.name.as_str()) {
            true => {}
            false => assert_eq!(access, None, "{} is not in the list", source.name),
        }
    }
    for Unordered { file: name, .. } in UNORDERED {
        let access = source::accesses(file(&sources, name).code()).next();
        assert!(access.is_some(), "{name} is in the list and has no atomic access");
    }
}

#[test]
fn the_page_shows_the_list() {
    let path = source::engine().parent().unwrap().join(PAGE);
    let page = fs::read_to_string(path).unwrap();
    let shown = page.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
    let (shown, _) = shown.expect("the page says where the list begins and ends");
    let list = list_for_people();
    assert!(shown == list, "put this between the marks in {PAGE}:\n{list}");
}

fn list_for_people() -> String {
    let mut list = String::from(
        "\n| what is handed over, or kept apart | one side | the other | model | taken out |\n| --- | --- | --- | --- | --- |\n",
    );
    for Pairing { what, sides: [one, other], breaks } in PAIRINGS {
        let models: Vec<_> = models_of(breaks).iter().map(|model| format!("`{model}`")).collect();
        let taken_out: Vec<_> = breaks.iter().map(|broken| broken.what).collect();
        let (models, taken_out) = (models.join(", "), taken_out.join("; "));
        let _ = writeln!(list, "| {what} | {one} | {other} | {models} | {taken_out} |");
    }
    list += "\nWhat orders memory, and has no model that fails without it:\n\n| where | why |\n| --- | --- |\n";
    for Unmodelled { file, functions, why } in UNMODELLED {
        let functions: Vec<_> = functions.iter().map(|function| format!("`{function}`")).collect();
        let _ = writeln!(list, "| `{file}`: {} | {why} |", functions.join(", "));
    }
    list += "\nWhat orders nothing: Relaxed accesses outside of every pairing.\n\n| where | what |\n| --- | --- |\n";
    for Unordered { file, why } in UNORDERED {
        let _ = writeln!(list, "| `{file}` | {why} |");
    }
    list + "\n"
}

#[test]
fn orderings_are_found_with_their_functions_and_not_in_imports_or_comments() {
    let code = "use x::{\n    Release,\n};\nfn one() {\n    // Acquire\n    a.store(1, Release);\n}\nfn two() {\n    a.load(Relaxed);\n}\n";
    assert_eq!(source::orderings(code), [("one".to_owned(), "a.store(1, Release);".to_owned())]);
    assert_eq!(
        source::accesses(code).collect::<Vec<_>>(),
        ["a.store(1, Release);", "a.load(Relaxed);"]
    );
}
