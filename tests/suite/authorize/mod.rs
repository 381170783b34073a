mod checks;
mod interaction;
mod pushed;
mod signed;
