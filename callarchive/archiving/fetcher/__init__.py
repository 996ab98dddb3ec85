"""Fetch the recordings that 8x8 names: find each one's object, keep its bytes in the archive, or record why not.

`fetcher` settles one account's day, many recordings at a time: `comparison` shows which kept recordings need nothing,
`transfer` keeps an object's bytes, `listed` searches the landing's listing for the rest, and `states` decides what the others
are.
"""
