<?php
// WordPress as the container's environment says: WORDPRESS_DB_HOST and the like, or the same names
// with _FILE behind them for the name of a file that has the value.

function drydock_setting(string $name, $otherwise)
{
    $file = getenv("WORDPRESS_{$name}_FILE");
    if ($file !== false && $file !== '') {
        return rtrim(file_get_contents($file), "\r\n");
    }
    $value = getenv("WORDPRESS_$name");
    return $value === false || $value === '' ? $otherwise : $value;
}

foreach (
    [
        'DB_NAME' => 'wordpress',
        'DB_USER' => 'example username',
        'DB_PASSWORD' => 'example password',
        'DB_HOST' => 'mysql',
        'DB_CHARSET' => 'utf8mb4',
        'DB_COLLATE' => '',
        'AUTH_KEY' => '@RANDOM@',
        'SECURE_AUTH_KEY' => '@RANDOM@',
        'LOGGED_IN_KEY' => '@RANDOM@',
        'NONCE_KEY' => '@RANDOM@',
        'AUTH_SALT' => '@RANDOM@',
        'SECURE_AUTH_SALT' => '@RANDOM@',
        'LOGGED_IN_SALT' => '@RANDOM@',
        'NONCE_SALT' => '@RANDOM@',
    ] as $name => $otherwise
) {
    define($name, drydock_setting($name, $otherwise));
}

$table_prefix = drydock_setting('TABLE_PREFIX', 'wp_');
define('WP_DEBUG', (bool) drydock_setting('DEBUG', ''));

// A proxy in front may have ended TLS.
if (strpos($_SERVER['HTTP_X_FORWARDED_PROTO'] ?? '', 'https') !== false) {
    $_SERVER['HTTPS'] = 'on';
}

$extra = drydock_setting('CONFIG_EXTRA', '');
if ($extra !== '') {
    eval($extra);
}

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
