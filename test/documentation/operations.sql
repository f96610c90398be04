-- The account that the page speaks of.
CREATE EXTENSION cupsource;
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
CREATE USER MAPPING FOR CURRENT_USER SERVER hub OPTIONS (api_key '…', secret_key '…');
