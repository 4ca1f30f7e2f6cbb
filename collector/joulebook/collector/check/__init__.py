"""The check of a whole store: do its books follow from its raw readings, and has everything an owner?"""
