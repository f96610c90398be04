-- The extension is in the database; the library was loaded when the server
-- started.

CREATE EXTENSION cupsource;
SELECT cs_version();
