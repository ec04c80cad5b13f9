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

/// Returns the same question in other words.
pub fn asked_prompt(at: usize) -> String {
    format!("What's the best way to {} a {} at home", DEEDS[at / THINGS.len()], THINGS[at % THINGS.len()])
}
