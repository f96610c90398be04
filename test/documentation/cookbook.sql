-- The accounts that the cookbook begins with.
CREATE EXTENSION cupsource;
CREATE SERVER shop FOREIGN DATA WRAPPER cupsource OPTIONS (api 'cupsource-v2');
CREATE USER MAPPING FOR PUBLIC SERVER shop OPTIONS (api_key '…');
CREATE SERVER hub FOREIGN DATA WRAPPER cupsource OPTIONS (api 'customhub-v1');
CREATE USER MAPPING FOR PUBLIC SERVER hub OPTIONS (api_key '…');
