/* A library that is no plugin. */
int not_the_symbol(void);
int not_the_symbol(void) { return 1; }
