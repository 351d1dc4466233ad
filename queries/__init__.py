"""SQL, one question per file. ``hmct_track.lake.load_query`` reads them."""
