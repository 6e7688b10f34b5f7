"""Where settings come from: the command line, a file, the environment, in flowtx's names and in DTM's."""
