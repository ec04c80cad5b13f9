//! Prompts that are near each other in pairs, and far from all others.

#[rustfmt::skip]
const THINGS: [&str; 50] = [
    "kettle", "bicycle", "lantern", "ladder", "violin", "tent", "camera", "compass", "blanket", "hammer",
    "basket", "mirror", "telescope", "saddle", "kayak", "drum", "helmet", "backpack", "heater", "printer",
    "scooter", "keyboard", "jacket", "umbrella", "stove", "radio", "carpet", "sofa", "fridge", "oven",
    "guitar", "tripod", "surfboard", "hammock", "toaster", "blender", "wardrobe", "bookshelf", "lawnmower",
    "projector", "thermostat", "dishwasher", "bathtub", "fireplace", "greenhouse", "trampoline",
    "microscope", "typewriter", "wheelbarrow", "chandelier",
];
#[rustfmt::skip]
const DEEDS: [&str; 40] = [
    "clean", "repair", "store", "sell", "paint", "insure", "return", "rent", "ship", "assemble", "polish",
    "upgrade", "recycle", "inspect", "wrap", "donate", "borrow", "label", "measure", "replace", "adjust",
    "protect", "photograph", "transport", "install", "remove", "restore", "decorate", "describe",
    "register", "order", "compare", "weigh", "unpack", "test", "refurbish", "dismantle", "varnish",
    "mount", "lubricate",
];

/// Returns a prompt to be stored, one of 2,000.
pub fn stored_prompt(at: usize) -> String {
    format!("What is the best way to {} a {} at home?", DEEDS[at / THINGS.len()], THINGS[at % THINGS.len()])
}

/// Returns a prompt to be stored and the same question in other words, both after so many sentences of a story that both tell
/// alike. Each sentence has some 15 tokens, the question some 12; no two prompts tell the same story.
pub fn long_prompts(at: usize, sentences: usize) -> (String, String) {
    // What stands second moves on against what stands first with each round of things, so that no story comes twice.
    let thing = |step: usize| THINGS[(at * 7 + step * 11 + step % 2 * (at / THINGS.len())) % THINGS.len()];
    let story: String = (0..sentences)
        .map(|step| {
            let (one, other) = (thing(2 * step), thing(2 * step + 1));
            match step % 4 {
                0 => format!("There is an old {one} in the cellar of my house, beside a {other}. "),
                1 => format!("My neighbour has a {one} too, and keeps it behind a {other}. "),
                2 => format!("In the garage I found a {one} that fits well with the {other}. "),
                _ => format!("The {one} stands in the hall, and the {other} hangs on a wall. "),
            }
        })
        .collect();
    // Another deed and another thing each time: what the neighbours ask shall not be near.
    let at = at * 41 % (DEEDS.len() * THINGS.len());
    (story.clone() + &stored_prompt(at), story + &asked_prompt(at))
}

/// Returns the same question in other words.
pub fn asked_prompt(at: usize) -> String {
    format!("What's the best way to {} a {} at home", DEEDS[at / THINGS.len()], THINGS[at % THINGS.len()])
}
