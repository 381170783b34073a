mod acr;
mod checks;
mod interaction;
mod pushed;
mod signed;
mod upstream;
