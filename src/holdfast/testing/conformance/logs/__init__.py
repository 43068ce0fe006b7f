"""The cases of logs, by subject: what every store that holds logs must do."""
