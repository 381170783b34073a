mod checks;
mod interaction;
mod pushed;
